-- note: puts a record on the list of what somebody must look at. Its key is KEYS[1], not the record's.
-- ARGV id, reason, operation, retentionMs      Replies noted
local note = { id = ARGV[1], reason = ARGV[2], operation = ARGV[3], atMs = nowMs }
redis.call("SET", KEYS[1], cjson.encode(note), "PX", ARGV[4])
return { "noted" }
