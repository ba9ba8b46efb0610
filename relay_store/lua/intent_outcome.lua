-- Note what was seen of a transaction, if its intent is still the stored one; only as the owner.
-- KEYS: intent, owner, commit   ARGV: token, tx hash, field, value, …
-- Returns 1 done, 0 another intent (or none), -1 not the owner.
local stored = redis.call('HGET', KEYS[1], 'tx_hash')
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
if stored ~= ARGV[2] then
  return 0
end
redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1
