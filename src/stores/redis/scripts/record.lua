-- What every script begins with: the clock, and one record as one packed string (cmsgpack array).
-- KEYS[1] the record. Replies are arrays of strings, the first of which is the reply's word.
-- The layout carries a version; a value that cannot be read is locked, never free.
-- In the packed array: VERSION, the state's place in STATES, its FIELDS, and the two LISTS, where
-- there is one.
local VERSION = 1
local STATES = { "in-progress", "completed", "released", "in-doubt" }
local FIELDS = {
  ["in-progress"] = { "fingerprint", "operation", "owner", "attempt", "claimedAtMs", "expiresAtMs",
    "fence", "leaseEndsAtMs", "leaseMs", "retentionMs", "onAbandoned", "committed", "takeover" },
  completed = { "fingerprint", "operation", "owner", "attempt", "claimedAtMs", "expiresAtMs", "fence",
    "atMs", "result" },
  released = { "fingerprint", "operation", "owner", "attempt", "claimedAtMs", "expiresAtMs", "fence" },
  ["in-doubt"] = { "fingerprint", "operation", "owner", "attempt", "claimedAtMs", "expiresAtMs", "fence",
    "atMs", "committed" },
}
local LISTS = { "steps", "resolutions" }
local TYPES = {
  fingerprint = "string", operation = "string", owner = "string", attempt = "number",
  claimedAtMs = "number", expiresAtMs = "number", fence = "number", leaseEndsAtMs = "number",
  leaseMs = "number", retentionMs = "number", onAbandoned = "string", committed = "boolean",
  takeover = "boolean", atMs = "number", result = "string",
}
-- Packed as the distance from claimedAtMs in these units a ms: small numbers take few bytes.
local UNITS = { expiresAtMs = 1, leaseEndsAtMs = 1, atMs = 1, fence = 1000 }
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(value)
  return type(value) == "number" and string.format("%.0f", value) or tostring(value)
end

local function write(record)
  local packed = { VERSION }
  for place, state in ipairs(STATES) do
    if state == record.state then packed[2] = place end
  end
  for _, field in ipairs(FIELDS[record.state]) do
    local value = record[field]
    packed[#packed + 1] = UNITS[field] and value - record.claimedAtMs * UNITS[field] or value
  end
  if record.steps or record.resolutions then
    for _, list in ipairs(LISTS) do packed[#packed + 1] = record[list] or false end
  end
  local ttlMs = math.max(1, record.expiresAtMs - nowMs)
  redis.call("SET", KEYS[1], cmsgpack.pack(packed), "PX", text(ttlMs))
  -- Wakes who waits for the owner. An ACL may forbid it: they poll, and the record stays written.
  if record.state == "completed" or record.state == "released" then
    redis.pcall("SPUBLISH", KEYS[1], "")
  end
  return record
end

-- The record of a packed array; nil unless every field that its state needs is there.
local function unpacked(packed)
  if type(packed) ~= "table" or packed[1] ~= VERSION then return nil end
  local record = { state = STATES[packed[2]] }
  if not record.state then return nil end
  local fields = FIELDS[record.state]
  local lists = #packed - 2 - #fields
  if lists ~= 0 and lists ~= #LISTS then return nil end
  for index, field in ipairs(fields) do
    record[field] = packed[index + 2]
    if type(record[field]) ~= TYPES[field] then return nil end
  end
  for index, list in ipairs(LISTS) do
    record[list] = packed[2 + #fields + index] or false
    if record[list] and type(record[list]) ~= "table" then return nil end
  end
  for field, unit in pairs(UNITS) do
    if record[field] then record[field] = record[field] + record.claimedAtMs * unit end
  end
  return record
end

-- The record and nil, or nil and "corrupt". A record whose retention is over is absent, but its fence
-- counts: `lastFence`.
local lastFence = 0
local function read()
  local value = redis.pcall("GET", KEYS[1])
  if not value then return nil end
  if type(value) == "table" then return nil, "corrupt" end -- a key of another type
  local sound, packed = pcall(cmsgpack.unpack, value)
  local record = sound and unpacked(packed)
  if not record then return nil, "corrupt" end
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

-- Whether the lease of a record in progress has ended, and nobody may take over.
local function isDoubted(record)
  return nowMs >= record.leaseEndsAtMs and (record.committed or record.onAbandoned == "in-doubt")
end

-- The record as a claim would find it: in doubt where a lease has ended that nobody may take over.
local function seen(record)
  if record.state == "in-progress" and isDoubted(record) then
    record.state, record.atMs = "in-doubt", record.leaseEndsAtMs
  end
  return record
end

local function doubt(record)
  record.state, record.atMs = "in-doubt", nowMs
  record.expiresAtMs = math.max(record.expiresAtMs, nowMs + record.retentionMs)
  return write(record)
end

local function release(record)
  record.state = "released"
  return write(record)
end

local function complete(record, result, retentionMs)
  record.state, record.atMs, record.result, record.steps = "completed", nowMs, result, false
  record.expiresAtMs = nowMs + retentionMs
  return write(record)
end
