-- Prolong a lease that is ours, as long as the ownership is ours too.
-- KEYS: lease [, owner]   ARGV: token, ttl in ms
-- Returns 1, or 0 when the lease or the ownership is somebody else's or gone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if KEYS[2] and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
