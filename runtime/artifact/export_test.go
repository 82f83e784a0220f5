package artifact

// HeaderBytes is the size of what stands before the manifest.
const HeaderBytes = headerBytes
