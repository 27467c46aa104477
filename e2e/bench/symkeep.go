package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A node is one symkeep process and its directory.
type node struct {
	*process
	cfg    config
	dir    string
	addr   string // host:port of the public address
	gossip string
	flags  []string
}

// newNode prepares a node; join is the gossip address of another one, or empty.
func newNode(cfg config, name, join string, flags ...string) (*node, error) {
	n := &node{cfg: cfg, dir: filepath.Join(cfg.dir, name)}
	var addrs [3]string
	for i := range addrs {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		addrs[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	n.addr, n.gossip = addrs[0], addrs[2]
	n.flags = append([]string{"node", "--name", name, "--data-dir", filepath.Join(n.dir, "data"),
		"--http-addr", addrs[0], "--peer-addr", addrs[1], "--gossip-addr", addrs[2]}, flags...)
	if join != "" {
		n.flags = append(n.flags, "--join", join)
	}
	return n, os.MkdirAll(n.dir, 0o755)
}

// start runs the node and returns once it serves debuggers.
func (n *node) start(ctx context.Context) error {
	var err error
	if n.process, err = start(n.dir, n.cfg.bin, n.flags...); err != nil {
		return err
	}
	return n.await(ctx, n.url()+"/readyz", isOK)
}

func (n *node) url() string { return "http://" + n.addr }

// push sends a folder and fails unless it is found good.
func (n *node) push(ctx context.Context, path string) error {
	_, _, err := n.pushWith(ctx, path)
	return err
}

// pushWith is push with more arguments; it returns the events and how the agent ended.
func (n *node) pushWith(ctx context.Context, args ...string) ([]byte, *os.ProcessState, error) {
	args = append([]string{"push", "--json", "--server", n.url(), "--product", "bench", "--version", "1"}, args...)
	cmd := exec.CommandContext(ctx, n.cfg.bin, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var result struct {
		Verdict string `json:"verdict"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil || result.Verdict != "good" {
		return nil, nil, fmt.Errorf("%s: verdict %q, wanted good: %v", strings.Join(args, " "), result.Verdict, err)
	}
	return out.Bytes(), cmd.ProcessState, nil
}

// holds reports whether the packed blob of a file lies in the node's directory.
func (n *node) holds(f *file) bool { return exists(n.blobPath(f)) }

// blobPath is where the node keeps the packed blob of a file.
func (n *node) blobPath(f *file) string {
	h := f.sha256
	return filepath.Join(n.dir, "data", "blobs", h[:2], h[2:4], h)
}
