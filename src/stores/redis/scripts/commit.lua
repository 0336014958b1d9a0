-- commit: the owner is about to pass its point of no return; nobody else may ever run this.
-- ARGV owner               Replies committed | lease-lost | corrupt
local record, fault = read()
if fault then return { fault } end
if not owns(record, ARGV[1]) or record.state ~= "in-progress" then return { "lease-lost" } end
record.committed = true
write(record)
return { "committed" }
