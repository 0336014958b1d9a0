-- complete: the owner records its result; a repeated call keeps the first one.
-- ARGV owner, result, retentionMs      Replies recorded | lease-lost | corrupt
local record, fault = read()
if fault then return { fault } end
if not owns(record, ARGV[1]) or record.state == "released" then return { "lease-lost" } end
if record.state ~= "completed" then complete(record, ARGV[2], tonumber(ARGV[3])) end
return { "recorded" }
