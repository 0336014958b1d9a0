-- release: the owner gives the key back; once it has committed, the record goes to in doubt instead.
-- ARGV owner               Replies released | in-doubt | lease-lost | corrupt
local record, fault = read()
if fault then return { fault } end
if not owns(record, ARGV[1]) or record.state == "completed" then return { "lease-lost" } end
if record.state == "released" then return { "released" } end
if record.committed then
  if record.state == "in-progress" then doubt(record) end
  return { "in-doubt" }
end
release(record)
return { "released" }
