-- get: the record as a claim would find it, as names and values; steps and resolutions as lists.
-- ARGV nothing, or for a listing "head" (without the bytes of results) and a state ("" for any)
-- Replies absent | corrupt | found, name, value, …
local record, fault = read()
if fault then return { fault } end
if not record then return { "absent" } end
record = seen(record)
if ARGV[1] == "head" then
  if ARGV[2] ~= "" and ARGV[2] ~= record.state then return { "absent" } end
  record.result, record.steps = "", false
end
local reply = { "found", "state", record.state }
for _, field in ipairs(FIELDS[record.state]) do append(reply, field, text(record[field])) end
for _, list in ipairs(LISTS) do append(reply, list, record[list] or "") end
return reply
