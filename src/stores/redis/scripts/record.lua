-- What every script begins with: the clock, and one record as one packed string (cmsgpack array).
-- KEYS[1] the record. Replies are arrays of strings, the first of which is the reply's word.
-- The layout carries a version; a value that cannot be read is locked, never free.
local VERSION = 1
local FIELDS = {
  "state", "fingerprint", "operation", "fence", "attempt", "owner", "claimedAtMs", "expiresAtMs",
  "leaseEndsAtMs", "leaseMs", "retentionMs", "onAbandoned", "committed", "takeover", "atMs", "result",
  "steps", "resolutions",
}
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(value)
  return type(value) == "number" and string.format("%.0f", value) or tostring(value)
end

local function write(record)
  local packed = { VERSION }
  for index, field in ipairs(FIELDS) do
    packed[index + 1] = record[field] or false -- a nil would leave a hole in the array
  end
  local ttlMs = math.max(1, record.expiresAtMs - nowMs)
  redis.call("SET", KEYS[1], cmsgpack.pack(packed), "PX", text(ttlMs))
  -- Wakes who waits for the owner. An ACL may forbid it: they poll, and the record stays written.
  if record.state == "completed" or record.state == "released" then
    redis.pcall("SPUBLISH", KEYS[1], "")
  end
  return record
end

-- The types that the fields of a state must have, for what a script reads without asking.
local NEEDED = {
  ["in-progress"] = { leaseEndsAtMs = "number", leaseMs = "number", retentionMs = "number" },
  completed = { atMs = "number", result = "string" },
  released = {},
  ["in-doubt"] = { atMs = "number" },
}
local ALWAYS = { fence = "number", attempt = "number", claimedAtMs = "number", expiresAtMs = "number",
  owner = "string", fingerprint = "string", operation = "string" }

local function fits(record, types)
  for field, kind in pairs(types or {}) do
    if type(record[field]) ~= kind then return false end
  end
  return types ~= nil
end

-- The record and nil, or nil and "corrupt". A record whose retention is over is absent, but its fence
-- counts: `lastFence`.
local lastFence = 0
local function read()
  local value = redis.pcall("GET", KEYS[1])
  if not value then return nil end
  if type(value) == "table" then return nil, "corrupt" end -- a key of another type
  local sound, packed = pcall(cmsgpack.unpack, value)
  if not sound or type(packed) ~= "table" or packed[1] ~= VERSION or #packed ~= #FIELDS + 1 then
    return nil, "corrupt"
  end
  local record = {}
  for index, field in ipairs(FIELDS) do record[field] = packed[index + 1] end
  for _, field in ipairs({ "steps", "resolutions" }) do
    if record[field] and type(record[field]) ~= "table" then return nil, "corrupt" end
  end
  if not fits(record, ALWAYS) or not fits(record, NEEDED[record.state]) then return nil, "corrupt" end
  lastFence = record.fence
  if nowMs >= record.expiresAtMs then return nil end
  return record
end

-- Steps and resolutions are flat lists (name, result, …; outcome, by, note, atMs, …), or false.
local function append(list, ...)
  list = list or {}
  for _, item in ipairs({ ... }) do list[#list + 1] = item end
  return list
end

local function owns(record, owner)
  return record and record.owner == owner
end

local function extend(record, leaseMs)
  record.leaseMs = leaseMs
  record.leaseEndsAtMs = nowMs + leaseMs
  record.expiresAtMs = math.max(record.expiresAtMs, record.leaseEndsAtMs)
  return write(record)
end

local function leave(record, state)
  record.state = state
  record.leaseEndsAtMs, record.leaseMs, record.onAbandoned, record.takeover = false, false, false, false
  return record
end

-- The record as a claim would find it: in doubt where a lease has ended that nobody may take over.
local function seen(record)
  if record.state == "in-progress" and nowMs >= record.leaseEndsAtMs
    and (record.committed or record.onAbandoned == "in-doubt") then
    record.atMs, record.retentionMs = record.leaseEndsAtMs, false
    return leave(record, "in-doubt")
  end
  return record
end

local function doubt(record)
  local expiresAtMs = math.max(record.expiresAtMs, nowMs + record.retentionMs)
  leave(record, "in-doubt")
  record.retentionMs, record.atMs, record.expiresAtMs = false, nowMs, expiresAtMs
  return write(record)
end

local function release(record)
  leave(record, "released")
  record.retentionMs, record.committed, record.atMs = false, false, false
  return write(record)
end

local function complete(record, result, retentionMs)
  leave(record, "completed")
  record.retentionMs, record.committed, record.steps = false, false, false
  record.atMs, record.expiresAtMs, record.result = nowMs, nowMs + retentionMs, result
  return write(record)
end
