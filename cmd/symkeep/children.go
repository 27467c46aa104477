package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"symkeep/internal/courier"
	"symkeep/node"
	"symkeep/ops"
)

// validateCommandName is the hidden command a node runs for each package it
// validates.
const validateCommandName = "validate-child"

func newValidateCommand() *cobra.Command {
	return newChildCommand(validateCommandName, "validate the files listed on standard input (run by a node)", func(ctx context.Context) error {
		return node.ValidateChild(ctx, os.Stdin, os.Stdout)
	})
}

// courierCommandName is the hidden command a node runs to move the bytes of repair.
const courierCommandName = "courier-child"

func newCourierCommand() *cobra.Command {
	return newChildCommand(courierCommandName, "copy blobs as asked on standard input (run by a node)", func(ctx context.Context) error {
		return courier.Child(ctx, os.Stdin, os.Stdout)
	})
}

// newChildCommand returns a command for nodes, not for people.
func newChildCommand(use, short string, run func(context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use:    use,
		Short:  short,
		Hidden: true,
		Args:   ops.Args(0, 0, ""),
		RunE:   func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
	}
}
