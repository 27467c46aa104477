package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"symkeep/ops"
)

// applySettings gives every flag that the command line left out its value from
// the environment, else from the file of --config. It runs for every command
// before its RunE, so flags need no code of their own for it.
//
// An empty variable counts as unset. A list is separated by commas in the
// environment and is a YAML list, or for KEY=VALUE flags a map, in the file. The
// file may hold keys of other commands, so that one file serves all.
func applySettings(cmd *cobra.Command, lookup func(string) (string, bool)) error {
	if cmd.Hidden {
		return nil // commands the program runs by itself take nothing from outside
	}
	fromFile, path, err := configFile(cmd, lookup)
	if err != nil {
		return err
	}
	var bad error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if bad != nil || f.Changed || f.Name == "help" || f.Name == "config" {
			return
		}
		if v, ok := lookup(envName(f.Name)); ok && v != "" {
			if err := setText(cmd, f, v); err != nil {
				bad = ops.Usage("environment variable %s: %v", envName(f.Name), err)
			}
			return
		}
		if node, ok := fromFile[f.Name]; ok {
			if err := setNode(cmd, f, node); err != nil {
				bad = ops.Usage("%s line %d: %s: %v", path, node.Line, f.Name, err)
			}
		}
	})
	return bad
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return "SYMKEEP_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configFile reads the file that --config or SYMKEEP_CONFIG names, if any.
func configFile(cmd *cobra.Command, lookup func(string) (string, bool)) (map[string]*yaml.Node, string, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, "", err
	}
	if path == "" {
		path, _ = lookup(envName("config"))
	}
	if path == "" {
		return nil, "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, path, ops.Usage("config: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, path, ops.Usage("%s: not YAML: %v", path, err)
	}
	values, err := topLevel(&doc)
	if err != nil {
		return nil, path, ops.Usage("%s: %v", path, err)
	}
	known := allFlags(cmd.Root())
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !known[key] {
			return nil, path, ops.Usage("%s line %d: unknown key %q, known are %s", path, values[key].Line, key, strings.Join(ownFlags(cmd), ", "))
		}
	}
	return values, path, nil
}

func topLevel(doc *yaml.Node) (map[string]*yaml.Node, error) {
	values := map[string]*yaml.Node{}
	if len(doc.Content) == 0 {
		return values, nil // an empty file
	}
	m := doc.Content[0]
	if m.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: found something else, wanted lines of the form key: value", m.Line)
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if _, twice := values[key.Value]; twice {
			return nil, fmt.Errorf("line %d: key %q is there twice", key.Line, key.Value)
		}
		for value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		values[key.Value] = value
	}
	return values, nil
}

// ownFlags names the flags of one command that a file may set.
func ownFlags(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "config" && !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names // VisitAll sorts
}

func allFlags(root *cobra.Command) map[string]bool {
	known := map[string]bool{}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if !c.Hidden {
			c.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = f.Name != "help" && f.Name != "config" })
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	return known
}

func setText(cmd *cobra.Command, f *pflag.Flag, v string) error {
	if _, ok := f.Value.(pflag.SliceValue); ok {
		return setList(cmd, f, strings.FieldsFunc(v, func(r rune) bool { return r == ',' }))
	}
	return cmd.Flags().Set(f.Name, v)
}

func setNode(cmd *cobra.Command, f *pflag.Flag, n *yaml.Node) error {
	_, list := f.Value.(pflag.SliceValue)
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return fmt.Errorf("no value")
	case n.Kind == yaml.ScalarNode:
		return setText(cmd, f, n.Value)
	case list && n.Kind == yaml.SequenceNode:
		var vs []string
		for _, e := range n.Content {
			if e.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: wanted a plain value", e.Line)
			}
			vs = append(vs, e.Value)
		}
		return setList(cmd, f, vs)
	case list && n.Kind == yaml.MappingNode:
		var vs []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i+1].Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: wanted a plain value", n.Content[i+1].Line)
			}
			vs = append(vs, n.Content[i].Value+"="+n.Content[i+1].Value)
		}
		return setList(cmd, f, vs)
	}
	return fmt.Errorf("found a list or map, wanted one value")
}

// setList replaces the values of a list flag and marks it as set.
func setList(cmd *cobra.Command, f *pflag.Flag, vs []string) error {
	if err := f.Value.(pflag.SliceValue).Replace(vs); err != nil {
		return err
	}
	f.Changed = true
	return nil
}
