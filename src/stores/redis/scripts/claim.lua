-- claim: the first owner gets the record, everybody else learns its state. One atomic step.
-- ARGV owner, fingerprint, operation, leaseMs, retentionMs, onAbandoned
-- Replies claimed fence attempt takeover (name result)* | in-progress retryAfterMs runningForMs | mismatch
--         completed result completedAtMs expiresInMs | in-doubt operation | corrupt
local owner, fingerprint, operation = ARGV[1], ARGV[2], ARGV[3]
local leaseMs, retentionMs, onAbandoned = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local function claimed(record)
  local reply = { "claimed", text(record.fence), text(record.attempt), text(record.takeover) }
  return append(reply, unpack(record.steps or {}))
end

local function grant(record)
  return claimed(write({
    state = "in-progress",
    fingerprint = fingerprint,
    operation = operation,
    fence = math.max(lastFence + 1, nowMs * 1000),
    attempt = (record and record.attempt or 0) + 1,
    owner = owner,
    claimedAtMs = nowMs,
    expiresAtMs = nowMs + math.max(retentionMs, leaseMs),
    leaseEndsAtMs = nowMs + leaseMs,
    leaseMs = leaseMs,
    retentionMs = retentionMs,
    onAbandoned = onAbandoned,
    committed = false,
    takeover = record ~= nil and record.state == "in-progress",
    steps = record and record.steps,
    resolutions = record and record.resolutions,
  }))
end

local record, fault = read()
if fault then return { fault } end
if not record then return grant(nil) end
if record.fingerprint ~= fingerprint then return { "mismatch" } end
if record.state == "completed" then
  return { "completed", record.result, text(record.atMs), text(record.expiresAtMs - nowMs) }
end
if record.state == "in-doubt" then return { "in-doubt", record.operation } end
if record.state == "released" then return grant(record) end
if record.owner == owner then return claimed(extend(record, leaseMs)) end
if record.leaseEndsAtMs > nowMs + record.leaseMs then
  -- The server's clock jumped back: count the lease from now.
  record.leaseEndsAtMs = nowMs + record.leaseMs
  write(record)
end
if nowMs < record.leaseEndsAtMs then
  local runningForMs = math.max(0, nowMs - record.claimedAtMs)
  return { "in-progress", text(record.leaseEndsAtMs - nowMs), text(runningForMs) }
end
if isDoubted(record) then return { "in-doubt", doubt(record).operation } end
return grant(record)
