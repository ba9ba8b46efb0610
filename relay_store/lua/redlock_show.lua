-- Show that a lease was prolonged, if the ownership is still ours.
-- KEYS: lease, owner   ARGV: token, ttl in ms
-- Returns 1, or 0 when the ownership is somebody else's.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
