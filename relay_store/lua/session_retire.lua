-- Free what a finished session no longer needs and let the rest run out; only as the owner.
-- KEYS: session, owner, commit, leaves, index, then keys that live as long as the session
-- ARGV: token, retention in s, terminal states …
-- Returns 1 done, 0 not in a terminal state, -1 not the owner.
local state = redis.call('HGET', KEYS[1], 'state')
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
local terminal = false
for i = 3, #ARGV do
  terminal = terminal or state == ARGV[i]
end
if not terminal then
  return 0
end
redis.call('INCR', KEYS[3])
redis.call('UNLINK', KEYS[4], KEYS[5])
redis.call('EXPIRE', KEYS[1], ARGV[2])
for i = 6, #KEYS do
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
return 1
