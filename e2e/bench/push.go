package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"symkeep/agent"
)

// push follows packages of real programs from the agent to the verdict: packed by the
// agent, once more under another version, and packed by the node, each way on a node
// that never saw them.
func push(ctx context.Context, cfg config, t *table) error {
	dir := filepath.Join(cfg.dir, "programs")
	files, size, err := collectPrograms(ctx, dir)
	if err != nil {
		return err
	}
	packed, err := pushTo(ctx, cfg, "by-agent", dir, "", "")
	if err != nil {
		return err
	}
	raw, err := pushTo(ctx, cfg, "by-node", dir, "--raw")
	if err != nil {
		return err
	}
	first, second, mb := packed[0], packed[1], float64(size)/1e6
	t.add(line{work: fmt.Sprintf("push to good, %d programs and debug files of %.0f MB, one node", files, mb),
		values: []value{
			{"speed", mb / first.took, "MB/s"},
			{"node", 1e3 * first.node / mb, "ms of processor time for each MB"},
			{"agent", 1e3 * first.agent / mb, "ms of processor time for each MB"},
			{"node packs", 1e3 * raw[0].node / mb, "ms of processor time of the node for each MB, push --raw"},
			{"its speed", mb / raw[0].took, "MB/s"},
			{"busy", 100 * (first.node + first.agent) / first.took / float64(runtime.NumCPU()), "% of the processors"}},
		checks: []check{{what: "x the node's time when it packs", got: first.node / raw[0].node, bound: 0.5, atMost: true}}})
	t.add(line{work: "second push of the same files",
		values: []value{{"first", first.took, "s"}, {"second", second.took, "s"}, {"sent", float64(second.sent), "bytes of files"}},
		checks: []check{{what: "x the first", got: second.took / first.took, bound: 0.1, atMost: true},
			{what: "bytes of files sent", got: float64(second.sent), atMost: true}}})
	return os.RemoveAll(dir)
}

// A pushed is what one push cost.
type pushed struct {
	took, node, agent float64 // seconds: elapsed, and of processor time
	sent              int64   // raw bytes of the files that were sent
}

// pushTo starts a node and pushes dir to it, once with each of the flags.
func pushTo(ctx context.Context, cfg config, name, dir string, flags ...string) ([]pushed, error) {
	n, err := newNode(cfg, name, "")
	if err != nil {
		return nil, err
	}
	if err := n.start(ctx); err != nil {
		return nil, err
	}
	defer n.stop()
	var all []pushed
	for _, flag := range flags {
		p, err := n.pushTimed(ctx, dir, flag)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (n *node) pushTimed(ctx context.Context, dir, flag string) (p pushed, err error) {
	args := []string{dir}
	if flag != "" {
		args = append(args, flag)
	}
	before, err := n.processorTime()
	if err != nil {
		return p, err
	}
	begun := time.Now()
	out, state, err := n.pushWith(ctx, args...)
	if err != nil {
		return p, err
	}
	p.took = time.Since(begun).Seconds()
	after, err := n.processorTime()
	if err != nil {
		return p, err
	}
	p.node = (after - before).Seconds()
	p.agent = (state.UserTime() + state.SystemTime()).Seconds()
	p.sent, err = sentBytes(out)
	return p, err
}

// sentBytes is how many raw bytes of files the cluster lacked, by the events of a push.
func sentBytes(out []byte) (n int64, err error) {
	for line := range bytes.Lines(out) {
		var e struct { // the last line, the result, has other fields
			Event agent.EventKind `json:"event"`
			Bytes int64           `json:"bytes"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, err
		}
		if e.Event == agent.EventLacking {
			n += e.Bytes
		}
	}
	return n, nil
}

// processorTime is that of the node and of the validators it waited for.
func (p *process) processorTime() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte(") ")) // the name before may hold anything
	fields := strings.Fields(string(rest))
	if len(fields) < 15 {
		return 0, errors.New("too few fields in /proc/PID/stat")
	}
	var ticks int64
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ
}
