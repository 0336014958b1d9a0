/** The slot of a key in a Redis Cluster, as the cluster specification has it. */

const slots = 16_384;

/** CRC-16/XMODEM of the key, or of what stands between its first `{` and the next `}`. */
export function keySlot(key: string): number {
  const opens = key.indexOf("{");
  const closes = opens === -1 ? -1 : key.indexOf("}", opens + 1);
  const hashed = closes > opens + 1 ? key.slice(opens + 1, closes) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    }
    crc &= 0xffff;
  }
  return crc % slots;
}
