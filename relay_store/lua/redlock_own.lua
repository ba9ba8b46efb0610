-- Write the ownership that fences writes, for a lease taken from a majority of masters; not after its end.
-- KEYS: lease, owner, epoch   ARGV: token, end of the lease in ms by this store's clock, ttl in ms
-- A full store refuses what could need memory, but not after a write that cannot: so DEL comes first.
-- Returns the epoch, nil when the lease has ended. The lease key here only shows who holds it.
local now = redis.call('TIME')
if now[1] * 1000 + math.floor(now[2] / 1000) >= tonumber(ARGV[2]) then
  return nil
end
redis.call('DEL', KEYS[1])
local epoch = redis.call('INCR', KEYS[3])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return epoch
