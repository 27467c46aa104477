package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// newTree returns the whole command tree, of which nothing is run.
func newTree() *cobra.Command {
	return newRootCommand(io.Discard, io.Discard, func(string) (string, bool) { return "", false })
}

// leaves calls f for every command that a person can run.
func leaves(c *cobra.Command, f func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	subs := slices.DeleteFunc(slices.Clone(c.Commands()), func(s *cobra.Command) bool { return s.Hidden })
	if len(subs) == 0 || c.Flags().Lookup("server") != nil {
		f(c)
	}
	for _, s := range subs {
		leaves(s, f)
	}
}

// Every command says in a few words what it does and shows how it is called; what
// asks a server prints JSON on request. node runs until it is stopped, and version
// prints one line.
func TestEveryCommandExplainsItself(t *testing.T) {
	seen := 0
	leaves(newTree(), func(c *cobra.Command) {
		seen++
		if c.Short == "" || len(c.Short) > 90 || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short %q, wanted up to 90 characters without a full stop", c.CommandPath(), c.Short)
		}
		if !strings.HasPrefix(c.Example, "  "+c.CommandPath()) {
			t.Errorf("%s: Example %q, wanted lines that begin with two blanks and the command", c.CommandPath(), c.Example)
		}
		if c.Args == nil {
			t.Errorf("%s: the number of arguments is not checked", c.CommandPath())
		}
		if c.Flags().Lookup("json") == nil && c.Name() != "node" && c.Name() != "version" {
			t.Errorf("%s: has no --json", c.CommandPath())
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 101 {
				t.Errorf("%s: a line of its help has %d characters: %q", c.CommandPath(), len(line), line)
			}
		}
	})
	if seen < 30 {
		t.Errorf("%d commands, want 30 or more: has the walk missed some?", seen)
	}
}

// commandLine is a call of the program in a text: to the end of its line or to a
// pipe.
var commandLine = regexp.MustCompile("(?m)(?:^|[`$;&] *|sudo -u [a-z]+ )symkeep ([^`|;&#\n]*)")

// Every command line that help and documents show exists, flags included.
func TestShownCommandsExist(t *testing.T) {
	texts := map[string]string{}
	for _, path := range []string{"../../README.md", "../../docs/operations.md", "../../docs/not-found.md", "../../deploy/README.md"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = strings.ReplaceAll(string(b), "\\\n", " ")
	}
	leaves(newTree(), func(c *cobra.Command) {
		texts["help of "+c.CommandPath()] = strings.ReplaceAll(regexp.MustCompile("(?m)^  ").ReplaceAllString(c.Example, ""), "\\\n", " ") + "\n" + c.Long
	})
	seen := 0
	for where, text := range texts {
		for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
			seen++
			if problem := checkLine(shellWords(m[1])); problem != "" {
				t.Errorf("%s: symkeep %s: %s", where, strings.TrimSpace(m[1]), problem)
			}
		}
	}
	if seen < 60 {
		t.Errorf("%d command lines found, want 60 or more: has the pattern missed some?", seen)
	}
}

// checkLine says what is wrong with a command line, without running it.
func checkLine(args []string) string {
	root := newTree()
	c, rest, err := root.Find(args)
	switch {
	case err != nil:
		return err.Error()
	case c == root && len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		return "no such command"
	}
	if err := c.ParseFlags(rest); err != nil {
		return err.Error()
	}
	for _, arg := range c.Flags().Args() {
		if c.HasAvailableSubCommands() {
			return arg + ": no such command"
		}
	}
	return ""
}

// shellWords splits at blanks outside single quotes.
func shellWords(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?:'[^']*'|\S)+`).FindAllString(line, -1) {
		out = append(out, strings.ReplaceAll(m, "'", ""))
	}
	return out
}
