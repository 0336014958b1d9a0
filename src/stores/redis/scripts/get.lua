-- get: the record as it stands, as names and values.
-- Replies absent | corrupt | found, name, value, …
local record, fault = read()
if fault then return { fault } end
if not record then return { "absent" } end
local reply = { "found" }
for _, field in ipairs(FIELDS) do
  reply[#reply + 1] = field
  reply[#reply + 1] = text(record[field])
end
return reply
