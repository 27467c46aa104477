// Package api holds the JSON forms of /api/v1 and /peer/v1, the typed clients of
// both, and the preamble that opens a peer connection. The servers are in symhttp.
//
// Fields are added, never changed; readers ignore unknown ones. Clients are safe
// for concurrent use. Digests and ids travel in their text forms, times in RFC
// 3339, durations in milliseconds.
package api

// Header names of every answer.
const (
	HeaderIndex   = "X-Symkeep-Index"   // applied log index of the answering node
	HeaderCluster = "X-Symkeep-Cluster" // cluster id
	HeaderNode    = "X-Symkeep-Node"    // name of the answering node
)

// Header names of uploads. Offset and length count the bytes that are sent: raw ones,
// or those of a packed file.
const (
	HeaderUploadOffset = "Upload-Offset"
	HeaderUploadLength = "Upload-Length"
	// HeaderUploadPacked is the packed SHA-256 of a packed file, in hexadecimal: the
	// request is about its bytes. Without it the request is about the raw bytes.
	HeaderUploadPacked = "Upload-Packed"
	// HeaderUploadTakes lists, on answers to HEAD, the containers of packed files that
	// the node takes beside raw bytes, such as "cab, gz". Older nodes do not send it.
	HeaderUploadTakes = "Upload-Takes"
)
