package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tools are the programs that rigs run, scripts/need.sh group net.
var tools = []string{"ip", "tc", "nft", "nsenter", "mkfs.ext4", "losetup", "mount", "umount", "fsfreeze"}

// toolPath finds a program, also where the PATH of users does not lead.
func toolPath(name string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: not installed: scripts/need.sh net installs it", name)
}

// tool runs a program to its end and returns what it printed.
func tool(name string, args ...string) (string, error) { return toolInput("", name, args...) }

// toolInput is tool with text to read.
func toolInput(stdin, name string, args ...string) (string, error) {
	path, err := toolPath(name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out.String(), nil
}

// Supported returns nil where this process may make rigs, and otherwise what is
// missing.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("rig: needs root, for network namespaces and file systems")
	}
	for _, name := range tools {
		if _, err := toolPath(name); err != nil {
			return fmt.Errorf("rig: %w", err)
		}
	}
	for _, dev := range []string{"/dev/net/tun", "/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(dev); err != nil {
			return fmt.Errorf("rig: %w: this kernel or container lacks the device", err)
		}
	}
	return nil
}

// Build builds symkeep into dir, statically, with tags such as "faults", and
// returns the program's path.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	bin := filepath.Join(dir, "symkeep")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", strings.Join(tags, ","), "-o", bin, "symkeep/cmd/symkeep")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("rig: build with tags %v: %w\n%s", tags, err, out)
	}
	return bin, nil
}
