-- Show that leases were prolonged, where the ownership is still ours.
-- KEYS: lease, owner of each   ARGV: keys of each, token, ttl in ms
-- A full store refuses what could need memory, but not after a write that cannot: so DEL comes first.
-- Returns for each 1, or 0 when the ownership is somebody else's.
local replies = {}
for first = 1, #KEYS, tonumber(ARGV[1]) do
  local ours = redis.call('GET', KEYS[first + 1]) == ARGV[2]
  if ours then
    redis.call('DEL', KEYS[first])
    redis.call('SET', KEYS[first], ARGV[2], 'PX', ARGV[3])
  end
  replies[#replies + 1] = ours and 1 or 0
end
return replies
