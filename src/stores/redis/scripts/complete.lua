-- complete: the owner records its result; a repeated call keeps the first one, and writes it again:
-- a WAIT counts the replicas of its connection's last write, and without one it would count any.
-- ARGV owner, result, retentionMs      Replies recorded | lease-lost | corrupt
local record, fault = read()
if fault then return { fault } end
if not owns(record, ARGV[1]) or record.state == "released" then return { "lease-lost" } end
-- An operator's result is not the owner's own: it must learn that its own is not kept.
local said = record.resolutions
if record.state == "completed" and said and said[#said - 3] ~= "not-executed" then
  return { "lease-lost" }
end
if record.state == "completed" then
  write(record)
else
  complete(record, ARGV[2], tonumber(ARGV[3]))
end
return { "recorded" }
