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
// agent, the same once more, and packed by the node, each way on a node
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
			{"node", 1e3 * first.node() / mb, "ms of processor time for each MB"},
			{"validation", 1e3 * first.validators / mb, "ms of that"},
			{"agent", 1e3 * first.agent / mb, "ms of processor time for each MB"},
			{"node packs", 1e3 * raw[0].node() / mb, "ms of processor time of the node for each MB, push --raw"},
			{"its speed", mb / raw[0].took, "MB/s"},
			{"busy", 100 * (first.node() + first.agent) / first.took / float64(runtime.NumCPU()), "% of the processors"}},
		checks: []check{{what: "x the node's time when it packs", got: first.node() / raw[0].node(), bound: 0.5, atMost: true}}})
	t.add(line{work: "second push of the same files",
		values: []value{{"first", first.took, "s"}, {"second", second.took, "s"}, {"sent", float64(second.sent), "bytes of files"}},
		checks: []check{{what: "x the first", got: second.took / first.took, bound: 0.1, atMost: true},
			{what: "bytes of files sent", got: float64(second.sent), atMost: true}}})
	return os.RemoveAll(dir)
}

// A pushed is what one push cost.
type pushed struct {
	took            float64 // seconds
	own, validators float64 // seconds of processor time of the node itself, and of those
	agent           float64
	sent            int64 // raw bytes of the files that were sent
}

// node is the processor time that the push took on the node.
func (p pushed) node() float64 { return p.own + p.validators }

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
	ownBefore, validatorsBefore, err := n.processorTime()
	if err != nil {
		return p, err
	}
	begun := time.Now()
	out, state, err := n.pushWith(ctx, args...)
	if err != nil {
		return p, err
	}
	p.took = time.Since(begun).Seconds()
	own, validators, err := n.processorTime()
	if err != nil {
		return p, err
	}
	p.own, p.validators = (own - ownBefore).Seconds(), (validators - validatorsBefore).Seconds()
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

// processorTime is that of a process, and that of the children it waited for: of a node,
// its validators. Source: proc_pid_stat(5).
func (p *process) processorTime() (own, children time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the name before may hold anything
	fields := strings.Fields(rest)             // from the third on
	var times [4]time.Duration                 // utime, stime, cutime, cstime: the 14th to 17th
	for i := range times {
		if len(fields) <= 11+i {
			return 0, 0, errors.New("too few fields in /proc/PID/stat")
		}
		n, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		times[i] = time.Duration(n) * time.Second / 100 // USER_HZ
	}
	return times[0] + times[1], times[2] + times[3], nil
}
