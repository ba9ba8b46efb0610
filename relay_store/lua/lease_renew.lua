-- Prolong leases that are ours, as long as the ownership is ours too.
-- KEYS: lease [, owner] of each   ARGV: keys of each, token, ttl in ms
-- Returns for each 1, or 0 when the lease or the ownership is somebody else's or gone.
local length, token, ttl = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local holders = redis.call('MGET', unpack(KEYS)) -- hundreds of groups at most (run_over): a third of the calls
local replies = {}
for first = 1, #KEYS, length do
  local ours = holders[first] == token and (length == 1 or holders[first + 1] == token)
  replies[#replies + 1] = ours and redis.call('PEXPIRE', KEYS[first], ttl) or 0
end
return replies
