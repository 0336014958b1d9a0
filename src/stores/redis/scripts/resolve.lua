-- resolve: an operator's word on a record in doubt, kept with the record.
-- ARGV attempt, by, note, "not-executed" | "completed" | "failed", result, retentionMs
-- Replies resolved | not-in-doubt | corrupt
local record, fault = read()
if fault then return { fault } end
if not record or seen(record).state ~= "in-doubt" or record.attempt ~= tonumber(ARGV[1]) then
  return { "not-in-doubt" }
end
local by, note, outcome = ARGV[2], ARGV[3], ARGV[4]
record.resolutions = append(record.resolutions, outcome, by, note, text(nowMs))
if outcome == "not-executed" then
  release(record)
else
  complete(record, ARGV[5], tonumber(ARGV[6]))
end
return { "resolved" }
