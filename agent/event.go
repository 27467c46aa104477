package agent

import "symkeep/internal/catalog"

// A Reporter is told what happens while a push or a check runs. Report is called
// from several goroutines and must not block for long.
type Reporter interface {
	Report(Event)
}

// An Event is one thing that happened. Which fields are set depends on its kind;
// as JSON it is one line of `symkeep push --json`.
type Event struct {
	Event     EventKind         `json:"event"`
	Package   catalog.PackageID `json:"package,omitempty"`
	ClusterID catalog.ClusterID `json:"cluster_id,omitempty"`
	Server    string            `json:"server,omitempty"` // URL
	Path      string            `json:"path,omitempty"`   // of the file, inside the package
	Other     string            `json:"other,omitempty"`  // path or name of the other half
	Files     int               `json:"files,omitempty"`
	Ignored   int               `json:"ignored,omitempty"`
	Blobs     int               `json:"blobs,omitempty"`
	Checked   int               `json:"checked,omitempty"` // files validated so far
	Bytes     int64             `json:"bytes,omitempty"`
	FileDone  int64             `json:"file_done,omitempty"` // bytes of Path
	FileSize  int64             `json:"file_size,omitempty"`
	Done      int64             `json:"done,omitempty"` // bytes of all files
	Total     int64             `json:"total,omitempty"`
	WaitMS    int64             `json:"wait_ms,omitempty"`
	State     catalog.State     `json:"state,omitempty"`
	Verdict   catalog.Verdict   `json:"verdict,omitempty"`
	Nodes     []string          `json:"nodes,omitempty"` // members that did not confirm
	Message   string            `json:"message,omitempty"`
}

// An EventKind names what an Event tells.
type EventKind string

// Kinds of event, in the order a push meets them.
const (
	EventSkipped     EventKind = "skipped"      // Path was not looked at, Message says why
	EventScanning    EventKind = "scanning"     // progress: FileDone of FileSize, Done of Total
	EventUnpacked    EventKind = "unpacked"     // the archive Path holds Files to push, Ignored ones, Bytes
	EventScanned     EventKind = "scanned"      // Files to push, Ignored ones, Bytes
	EventPaired      EventKind = "paired"       // Path and Other belong together
	EventHalfMissing EventKind = "half-missing" // Path names Other, which is not here
	EventSources     EventKind = "sources"      // Files of source to push, Bytes; Ignored are named and not taken, Message says why
	EventOpened      EventKind = "opened"       // Package at Server in ClusterID
	EventLacking     EventKind = "lacking"      // the cluster lacks Blobs, Bytes, for some of Files
	EventPacking     EventKind = "packing"      // progress of Path before it is sent: FileDone of FileSize; Done of Total are sent
	EventSentRaw     EventKind = "sent-raw"     // Path goes to Server unpacked, Message says why
	EventUploading   EventKind = "uploading"    // progress, as EventScanning
	EventUploaded    EventKind = "uploaded"     // Path is stored
	EventRetry       EventKind = "retry"        // Server did not do it, Message says why
	EventCommitted   EventKind = "committed"    // Package will be validated whatever the agent does
	EventValidating  EventKind = "validating"   // Checked of Files
	EventVerdict     EventKind = "verdict"      // Verdict, or the State stuck
	EventError       EventKind = "error"        // the end, Message says why; there is no result
)
