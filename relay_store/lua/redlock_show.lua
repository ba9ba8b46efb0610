-- Show that a lease was prolonged, if the ownership is still ours.
-- KEYS: lease, owner   ARGV: token, ttl in ms
-- A full store refuses what could need memory, but not after a write that cannot: so DEL comes first.
-- Returns 1, or 0 when the ownership is somebody else's.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
