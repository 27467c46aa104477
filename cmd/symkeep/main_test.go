package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"symkeep/agent/agenttest"
)

// asProgram makes the test binary behave as symkeep, signals and exit status
// included.
const asProgram = "SYMKEEP_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program makes a command that runs symkeep in dir with no variables but env.
func program(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{asProgram + "=1", "SystemRoot=" + os.Getenv("SystemRoot"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}

// TestScripts runs the txtar files below testdata. Each has its own cluster of
// three nodes, n1 to n3, and its files in the current folder. A script has one
// command per line:
//
//	exec ARGS...     run symkeep; an argument in quotes may hold blanks
//	status N         the last exit status
//	stdout REGEXP    matches what the last command wrote; ! negates
//	stderr REGEXP    the same
//	lines N          how many lines the last command wrote to standard output
//	json             every line of standard output is one JSON object
//	env NAME=VALUE   for the commands that follow
//	set NAME REGEXP  keep the first group of what standard output matches
//	kill NODE        take a node off the network; revive brings it back
//	downgrade NODE   make it one of an older build
//	rot NODE         damage a copy on it
//
// $SERVER is the address of n1, $SERVERS of all, $DEAD of none, $FOREIGN of a node
// of another cluster; $NAME is a value kept by set.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, file)
		})
	}
}

// deadServer refuses connections: nobody listens on port 1, and no other test is
// given it.
const deadServer = "http://127.0.0.1:1"

// A script is one running txtar file.
type script struct {
	t      *testing.T
	c      *agenttest.Cluster
	dir    string
	env    []string
	vars   map[string]string
	stdout string
	stderr string
	status int
}

func runScript(t *testing.T, file string) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, foreign := agenttest.New(t, 3), agenttest.New(t, 1)
	s := &script{t: t, c: c, dir: t.TempDir(), vars: map[string]string{
		"SERVER": c.Nodes[0].URL, "SERVERS": strings.Join(c.URLs(), ","), "DEAD": deadServer, "FOREIGN": foreign.Nodes[0].URL,
	}}
	for _, f := range ar.Files {
		path := filepath.Join(s.dir, filepath.FromSlash(f.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(s.expand(string(f.Data))), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for no, line := range strings.Split(string(ar.Comment), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.do(s.expand(line)); err != nil {
			t.Errorf("%s:%d: %s: %v\nstatus %d\nstdout: %s\nstderr: %s", file, no+1, line, err, s.status, s.stdout, s.stderr)
		}
	}
}

func (s *script) expand(text string) string {
	return os.Expand(text, func(name string) string {
		if v, ok := s.vars[name]; ok {
			return v
		}
		return "$" + name
	})
}

func (s *script) do(line string) error {
	want := true
	if rest, ok := strings.CutPrefix(line, "! "); ok {
		want, line = false, rest
	}
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "exec":
		return s.exec(words(arg))
	case "status":
		if strconv.Itoa(s.status) != arg {
			return fmt.Errorf("status %d, want %s", s.status, arg)
		}
	case "stdout", "stderr":
		text := map[string]string{"stdout": s.stdout, "stderr": s.stderr}[verb]
		if regexp.MustCompile("(?m)"+arg).MatchString(text) != want {
			return fmt.Errorf("match is %v, want %v", !want, want)
		}
	case "lines":
		if n := strings.Count(s.stdout, "\n"); strconv.Itoa(n) != arg {
			return fmt.Errorf("%d lines, want %s", n, arg)
		}
	case "json":
		return s.json()
	case "env":
		s.env = append(s.env, arg)
	case "set":
		name, re, _ := strings.Cut(arg, " ")
		m := regexp.MustCompile("(?m)" + re).FindStringSubmatch(s.stdout)
		if len(m) < 2 {
			return errors.New("no match")
		}
		s.vars[name] = m[1]
	case "kill":
		s.c.Kill(arg)
	case "revive":
		s.c.Revive(arg)
	case "downgrade":
		s.c.Downgrade(arg)
	case "rot":
		s.c.Rot(arg)
	default:
		return errors.New("unknown command of the script")
	}
	return nil
}

func (s *script) exec(args []string) error {
	var stdout, stderr bytes.Buffer
	if len(args) > 0 && (args[0] == "cluster" || args[0] == "help") && len(s.env) == 0 {
		// They touch neither files nor signals: no process of their own, which takes long.
		s.status = run(s.t.Context(), args, &stdout, &stderr, func(string) (string, bool) { return "", false })
		s.stdout, s.stderr = stdout.String(), stderr.String()
		return nil
	}
	cmd := program(s.t, s.dir, s.env, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	s.stdout, s.stderr, s.status = stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	return nil
}

// json checks the promise of --json: objects only, one per line, events, and then
// at most one result.
func (s *script) json() error {
	lines := strings.Split(strings.TrimSuffix(s.stdout, "\n"), "\n")
	for i, line := range lines {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return fmt.Errorf("line %d: %q: %v", i+1, line, err)
		}
	}
	return nil
}

// words splits at blanks; double quotes keep them.
func words(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

// TestInterrupt sends a real signal during an upload.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals to send")
	}
	c := agenttest.New(t, 1)
	busy := make(chan struct{})
	c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" {
			return false
		}
		close(busy)
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	}
	dir := t.TempDir()
	sym := "MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 a\nFUNC 1000 10 0 main\n"
	if err := os.WriteFile(filepath.Join(dir, "a.sym"), []byte(sym), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, dir, nil, "push", "--server", c.Nodes[0].URL, "--product", "p", "--version", "1", "a.sym")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-busy
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		last = lines.Text()
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(last, "run the same command again") {
		t.Errorf("interrupted push: status %d, last line %q, want 1 and how to go on", code, last)
	}
}
