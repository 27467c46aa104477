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
// where its packed bytes are. The last line says End, and the policy to weigh findings
// by; after it the pipe stays open for as long as somebody wants the answer.
type childFile struct {
	End    bool           `json:"end,omitempty"`
	Policy catalog.Policy `json:"policy,omitzero"`
	No     int            `json:"no"`
	Path   string         `json:"path"`
	Source string         `json:"source,omitempty"` // as in catalog.File
	Size   int64          `json:"size"`
	SHA256 catalog.Digest `json:"sha256"`
	Packed string         `json:"packed"`
	Known  []byte         `json:"known,omitempty"` // what was remembered of it
}

// A childLine is one line that a validator child writes: a report of one file, what
// to remember of one, or the last line.
type childLine struct {
	File *catalog.FileReport `json:"file,omitempty"`
	Keep *childKept          `json:"keep,omitempty"`
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
	var policy catalog.Policy
	memory := &childMemory{told: map[int][]byte{}}
	verified := &verifiedBlobs{done: map[string]bool{}}
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var f childFile
		if err := dec.Decode(&f); err != nil {
			return fmt.Errorf("read the list of files: %w", err)
		}
		if f.End {
			policy = f.Policy
			break
		}
		if len(f.Known) > 0 {
			memory.told[f.No] = f.Known
			f.Known = nil
		}
		files = append(files, validate.File{
			No: f.No, Path: f.Path, Source: f.Source, Size: f.Size, SHA256: f.SHA256, Explicit: true,
			Open:  func() (validate.ReaderAtCloser, error) { return verified.open(f) },
			Prove: func(ctx context.Context) error { return verified.prove(ctx, f) },
		})
	}
	go func() { // ends with the process at the latest
		io.Copy(io.Discard, in)
		cancel() // the node is gone: nobody reads the answer
	}()
	report, err := validate.Package(ctx, files, validate.Options{Policy: policy, Memory: memory})
	if err != nil {
		return err
	}
	for i := range report.Files {
		if err := enc.Encode(childLine{File: &report.Files[i]}); err != nil {
			return err
		}
	}
	if err := memory.write(enc); err != nil {
		return err
	}
	if err := enc.Encode(childLine{Done: &childDone{Findings: report.Findings}}); err != nil {
		return err
	}
	return w.Flush()
}

// verifiedBlobs opens files as a debugger would receive them, and proves that they
// are what they should be. Reads compare the checksums of what they decode in any case.
type verifiedBlobs struct {
	mu   sync.Mutex
	done map[string]bool // by path of the packed file
}

func (v *verifiedBlobs) open(f childFile) (validate.ReaderAtCloser, error) {
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
	return packedFile{r, file}, nil
}

// prove compares every byte of a packed blob with its digest, once.
func (v *verifiedBlobs) prove(ctx context.Context, f childFile) error {
	v.mu.Lock()
	known := v.done[f.Packed]
	v.mu.Unlock()
	if known {
		return nil
	}
	file, err := os.Open(f.Packed)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if _, err := cab.VerifyRaw(ctx, file, info.Size()); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done[f.Packed] = true
	return nil
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

// Bounds of what a child may answer, beyond what the checks of one file and of a
// package come to.
const (
	answerBase    = 16 << 20
	answerPerFile = 256 << 10
)

// A child says how validation runs: the command, and the bounds of one run.
type child struct {
	command []string
	memory  int64         // bytes, resident
	limit   time.Duration // from its start to its answer

	remember func(childKept) // is told what the child learned of files; nil: nobody wants it
}

// runChild validates files under a policy in a child process and returns its reports.
// It returns once the child is gone. Errors wrap errChildDied when the child crashed, used too
// much memory or time, or answered what is no answer.
func runChild(ctx context.Context, c child, files []childFile, policy catalog.Policy) (validate.Report, error) {
	var report validate.Report
	if len(c.command) == 0 {
		return report, errors.New("no command to validate with is configured")
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Env = append(os.Environ(), childMemoryEnv+"="+strconv.FormatInt(c.memory, 10))
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
	// A process that the child left behind would hold the pipe open.
	defer context.AfterFunc(ctx, func() { stdout.Close() })()
	var beside sync.WaitGroup
	overMemory := false
	watch, stopWatch := context.WithCancel(ctx)
	beside.Go(func() { overMemory = killOverMemory(watch, cmd.Process, c.memory) })
	beside.Go(func() { tellChild(stdin, files, policy) })
	done, readErr := readChild(io.LimitReader(stdout, answerBase+answerPerFile*int64(len(files))), &report, len(files), c.remember)
	stdin.Close()
	if done == nil {
		cmd.Process.Kill() // whatever it still writes is no answer
	}
	waitErr := cmd.Wait()
	stopWatch()
	beside.Wait()
	switch {
	case done != nil && done.Error != "":
		return report, fmt.Errorf("validator: %s", done.Error)
	case done != nil && waitErr == nil:
		report.Findings = done.Findings
		return report, nil
	case overMemory:
		return report, fmt.Errorf("%w: it used more than %d bytes of memory", errChildDied, c.memory)
	case ctx.Err() == context.DeadlineExceeded:
		return report, fmt.Errorf("%w: no answer after %s", errChildDied, c.limit)
	case ctx.Err() != nil:
		return report, ctx.Err()
	}
	return report, fmt.Errorf("%w: %v, its answer: %v: %s", errChildDied, waitErr, readErr, stderr.String())
}

// tellChild writes the list of files. A child that does not read it says so by how
// it ends.
func tellChild(stdin io.Writer, files []childFile, policy catalog.Policy) {
	enc := json.NewEncoder(stdin)
	for i := range files {
		if enc.Encode(files[i]) != nil {
			return
		}
	}
	_ = enc.Encode(childFile{End: true, Policy: policy})
}

// readChild reads at most files reports and the last line, which is nil if it did
// not come.
func readChild(r io.Reader, report *validate.Report, files int, remember func(childKept)) (*childDone, error) {
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<16))
	for {
		var l childLine
		if err := dec.Decode(&l); err != nil {
			return nil, err
		}
		switch {
		case l.Done != nil:
			return l.Done, nil
		case l.Keep != nil && remember != nil:
			remember(*l.Keep)
		case l.File == nil:
		case len(report.Files) == files:
			return nil, fmt.Errorf("more than %d reports", files)
		default:
			report.Files = append(report.Files, *l.File)
		}
	}
}

// killOverMemory kills a child whose resident memory passes the limit, and reports
// whether it did. Where the system does not tell, the child's own soft limit is
// all there is.
func killOverMemory(ctx context.Context, p *os.Process, limit int64) bool {
	for pause(ctx, 200*time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid))
		if err != nil {
			return false
		}
		fields := strings.Fields(string(b))
		if len(fields) < 2 {
			return false
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err == nil && pages*int64(os.Getpagesize()) > limit {
			return p.Kill() == nil
		}
	}
	return false
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
