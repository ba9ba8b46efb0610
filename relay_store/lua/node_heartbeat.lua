-- Note that a node lives, by the store's own clock, and forget those long gone.
-- A full store refuses what could need memory, but not after a write that cannot: so removing comes first.
-- KEYS: nodes   ARGV: node, retention in ms
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - ARGV[2])
redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
return now_ms
