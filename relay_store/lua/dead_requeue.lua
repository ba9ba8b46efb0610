-- Put a dead letter back into its relay stream and take it out of the counts, all at once.
-- KEYS: dead letters, relay stream, totals, commit [, session it was counted in]   ARGV: letter id
-- Returns 1 done, 0 no such letter, -1 its body was cut.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then
  return 0
end
local fields, body, length = found[1][2], '', 0
for i = 1, #fields, 2 do
  if fields[i] == 'body' then
    body = fields[i + 1]
  elseif fields[i] == 'length' then
    length = tonumber(fields[i + 1])
  end
end
if #body ~= length then
  return -1
end
redis.call('INCR', KEYS[4])
redis.call('XADD', KEYS[2], '*', 'data', body)
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'dead', -1)
if KEYS[5] and redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('HINCRBY', KEYS[5], 'dead', -1)
end
return 1
