-- renew: the owner is alive; its lease counts from now.
-- ARGV owner, leaseMs      Replies renewed | lease-lost | corrupt
local record, fault = read()
if fault then return { fault } end
if not owns(record, ARGV[1]) or record.state ~= "in-progress" then return { "lease-lost" } end
extend(record, tonumber(ARGV[2]))
return { "renewed" }
