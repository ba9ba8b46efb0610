-- Ask one question of many keys.
-- KEYS: the keys   ARGV: 1, a command that only reads, what follows the key
-- Returns each key's reply.
local replies = {}
for number, key in ipairs(KEYS) do
  replies[number] = redis.call(ARGV[2], key, unpack(ARGV, 3))
end
return replies
