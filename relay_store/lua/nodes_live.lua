-- The nodes heard of within the given time.
-- KEYS: nodes   ARGV: time in ms
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], now_ms - ARGV[1], '+inf')
