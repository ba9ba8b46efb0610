-- Take a lease that is free or already ours; with it the ownership that fences writes, and a new epoch.
-- KEYS: lease [, owner, epoch]   ARGV: token, ttl in ms
-- A full store refuses what could need memory, but not after a write that cannot: so DEL comes first.
-- Returns the epoch, 0 without an epoch key, nil when somebody else holds the lease.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return nil
end
redis.call('DEL', KEYS[1])
local epoch = 0
if KEYS[3] then
  epoch = redis.call('INCR', KEYS[3])
  redis.call('SET', KEYS[2], ARGV[1])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return epoch
