-- Move a session from one state to another, or add fields to it in its state; only as the owner.
-- KEYS: session, owner, commit   ARGV: token, expected state, new state, ttl in s (0: leave), field, value, …
-- Returns 1 done, 0 another state (or none), -1 not the owner.
local state = redis.call('HGET', KEYS[1], 'state')
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
if state ~= ARGV[2] then
  return 0
end
redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], 'state', ARGV[3], unpack(ARGV, 5))
if tonumber(ARGV[4]) > 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return 1
