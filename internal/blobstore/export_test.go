package blobstore

// Unexported codecs, for their fuzz target.
var (
	EncodeEntry = encodeEntry
	DecodeEntry = decodeEntry
)
