//go:build !windows

package main

import "os"

// enableEscapes reports whether the terminal understands escape sequences.
func enableEscapes(*os.File) bool { return os.Getenv("TERM") != "dumb" }
