package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// A childFile is one line that a validator child reads: a file of the package and
// where its packed bytes are. The last line says End; after it the pipe stays open
// for as long as somebody wants the answer.
type childFile struct {
	End    bool           `json:"end,omitempty"`
	No     int            `json:"no"`
	Path   string         `json:"path"`
	Size   int64          `json:"size"`
	SHA256 catalog.Digest `json:"sha256"`
	Packed string         `json:"packed"`
}

// A childLine is one line that a validator child writes: a report of one file, or
// the last line.
type childLine struct {
	File *catalog.FileReport `json:"file,omitempty"`
	Done *childDone          `json:"done,omitempty"`
}

type childDone struct {
	Findings []catalog.Finding `json:"findings,omitempty"`
	Error    string            `json:"error,omitempty"` // not the package's fault
}

// ValidateChild is the whole life of a validator child: it reads files from in,
// checks the bytes a debugger would receive, decoded from the packed blobs, and
// writes reports to out. A child that fails says why and ends with an error.
func ValidateChild(ctx context.Context, in io.Reader, out io.Writer) error {
	if limit, err := strconv.ParseInt(os.Getenv(childMemoryEnv), 10, 64); err == nil {
		debug.SetMemoryLimit(limit * 3 / 4) // the parent kills at the limit
	}
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	err := validateFrom(ctx, in, enc, w)
	done := childDone{}
	if err != nil {
		done.Error = err.Error()
		return errors.Join(err, enc.Encode(childLine{Done: &done}), w.Flush())
	}
	return w.Flush()
}

func validateFrom(ctx context.Context, in io.Reader, enc *json.Encoder, w *bufio.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var files []validate.File
	verified := &verifiedBlobs{done: map[string]bool{}}
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var f childFile
		if err := dec.Decode(&f); err != nil {
			return fmt.Errorf("read the list of files: %w", err)
		}
		if f.End {
			break
		}
		files = append(files, validate.File{
			No: f.No, Path: f.Path, Size: f.Size, SHA256: f.SHA256, Explicit: true,
			Open: func() (validate.ReaderAtCloser, error) { return verified.open(ctx, f) },
		})
	}
	go func() { // ends with the process at the latest
		io.Copy(io.Discard, in)
		cancel() // the node is gone: nobody reads the answer
	}()
	report, err := validate.Package(ctx, files, validate.Options{})
	if err != nil {
		return err
	}
	for i := range report.Files {
		if err := enc.Encode(childLine{File: &report.Files[i]}); err != nil {
			return err
		}
	}
	if err := enc.Encode(childLine{Done: &childDone{Findings: report.Findings}}); err != nil {
		return err
	}
	return w.Flush()
}

// verifiedBlobs opens files as a debugger would receive them. Before a blob is
// opened for the first time every byte is compared with its digest.
type verifiedBlobs struct {
	mu   sync.Mutex
	done map[string]bool // by path of the packed file
}

func (v *verifiedBlobs) open(ctx context.Context, f childFile) (validate.ReaderAtCloser, error) {
	file, err := os.Open(f.Packed)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	r, err := cab.Open(file, info.Size())
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if got := r.Info(); catalog.Digest(got.RawSHA256) != f.SHA256 || got.RawSize != f.Size {
		file.Close()
		return nil, fmt.Errorf("%s: packed blob holds %x of %d bytes, wanted %s of %d", f.Packed, got.RawSHA256, got.RawSize, f.SHA256, f.Size)
	}
	v.mu.Lock()
	known := v.done[f.Packed]
	v.mu.Unlock()
	if known {
		return packedFile{r, file}, nil
	}
	if _, err := cab.VerifyRaw(ctx, file, info.Size()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	v.mu.Lock()
	v.done[f.Packed] = true
	v.mu.Unlock()
	return packedFile{r, file}, nil
}

type packedFile struct {
	*cab.Reader
	io.Closer
}

// childMemoryEnv tells a child how much memory it may use, in bytes.
const childMemoryEnv = "SYMKEEP_VALIDATOR_MEMORY"

// errChildDied says that validation ended without an answer: the package may be
// what kills validators.
var errChildDied = errors.New("validator died")

// runChild validates files in a child process and returns its reports. Errors wrap
// errChildDied when the child crashed, ran out of memory or time.
func runChild(ctx context.Context, command []string, memory int64, limit time.Duration, files []childFile) (validate.Report, error) {
	var report validate.Report
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), childMemoryEnv+"="+strconv.FormatInt(memory, 10))
	cmd.WaitDelay = 5 * time.Second
	var stderr tailBuffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return report, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return report, err
	}
	if err := cmd.Start(); err != nil {
		return report, err
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		killOverMemory(ctx, cmd.Process.Pid, memory)
	}()
	defer func() { cancel(); <-watched }()
	writeErr := make(chan error, 1)
	go func() {
		enc := json.NewEncoder(stdin)
		var err error
		for i := range files {
			if err = enc.Encode(files[i]); err != nil {
				break
			}
		}
		if err == nil {
			err = enc.Encode(childFile{End: true})
		}
		writeErr <- err
	}()
	defer stdin.Close()
	done, readErr := readChild(stdout, &report)
	io.Copy(io.Discard, stdout)
	waitErr := cmd.Wait()
	<-writeErr
	switch {
	case done != nil && done.Error != "":
		return report, fmt.Errorf("validator: %s", done.Error)
	case done != nil && waitErr == nil:
		report.Findings = done.Findings
		return report, nil
	case ctx.Err() == context.DeadlineExceeded:
		return report, fmt.Errorf("%w: no answer after %s", errChildDied, limit)
	case ctx.Err() != nil:
		return report, ctx.Err()
	}
	return report, fmt.Errorf("%w: %v %v: %s", errChildDied, waitErr, readErr, stderr.String())
}

func readChild(r io.Reader, report *validate.Report) (*childDone, error) {
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<16))
	for {
		var l childLine
		if err := dec.Decode(&l); err != nil {
			return nil, err
		}
		if l.Done != nil {
			return l.Done, nil
		}
		if l.File != nil {
			report.Files = append(report.Files, *l.File)
		}
	}
}

// killOverMemory kills a child whose resident memory passes the limit. Where the
// system does not tell, the child's own soft limit is all there is.
func killOverMemory(ctx context.Context, pid int, limit int64) {
	for pause(ctx, 200*time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return
		}
		fields := strings.Fields(string(b))
		if len(fields) < 2 {
			return
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err == nil && pages*int64(os.Getpagesize()) > limit {
			if p, err := os.FindProcess(pid); err == nil {
				p.Kill()
			}
			return
		}
	}
}

// A tailBuffer keeps the last 4 KiB written to it.
type tailBuffer struct{ b []byte }

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 4096 {
		t.b = append(t.b[:0], t.b[len(t.b)-4096:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string { return strings.TrimSpace(string(t.b)) }
