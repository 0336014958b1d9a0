-- resolve: an operator's word on a record in doubt.
-- ARGV "not-executed" | "completed", result, retentionMs      Replies resolved | not-in-doubt | corrupt
local record, fault = read()
if fault then return { fault } end
if not record or record.state ~= "in-doubt" then return { "not-in-doubt" } end
if ARGV[1] == "completed" then
  complete(record, ARGV[2], tonumber(ARGV[3]))
else
  release(record)
end
return { "resolved" }
