-- resolve: an operator's word on a record in doubt, kept with the record.
-- ARGV by, note, "not-executed" | "completed" | "failed", result, retentionMs
-- Replies resolved | not-in-doubt | corrupt
local record, fault = read()
if fault then return { fault } end
if not record or record.state ~= "in-doubt" then return { "not-in-doubt" } end
record.resolutions = append(record.resolutions, ARGV[3], ARGV[1], ARGV[2], text(nowMs))
if ARGV[3] == "not-executed" then
  release(record)
else
  complete(record, ARGV[4], tonumber(ARGV[5]))
end
return { "resolved" }
