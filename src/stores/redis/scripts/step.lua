-- step: the owner has finished one step of its work; the first result of a name stands, and a
-- repeated call writes it again (see complete).
-- ARGV owner, name, result      Replies recorded | lease-lost | corrupt
local record, fault = read()
if fault then return { fault } end
if not owns(record, ARGV[1]) or record.state ~= "in-progress" then return { "lease-lost" } end
local steps = record.steps or {}
for index = 1, #steps, 2 do
  if steps[index] == ARGV[2] then
    write(record)
    return { "recorded" }
  end
end
record.steps = append(steps, ARGV[2], ARGV[3])
write(record)
return { "recorded" }
