package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startTimeout is far more than three members need to elect a leader.
const startTimeout = 30 * time.Second

// fleet is three members of one server, in processes of their own.
type fleet struct {
	server    server
	dir       string
	processes []*exec.Cmd
	clients   []string // addresses
	leader    int
	toLeader  bool
}

// startFleet starts members with empty folders and waits until each of them has written once.
func startFleet(p *plan, s server) (*fleet, error) {
	dir, err := os.MkdirTemp(p.dir, "go-writes-")
	if err != nil {
		return nil, err
	}
	f := &fleet{server: s, dir: dir, toLeader: p.leaderOnly}
	addresses, err := freeAddresses(2 * members)
	if err != nil {
		return nil, err
	}
	peers := addresses[:members]
	f.clients = addresses[members:]
	var initial []string
	for at, peer := range peers {
		initial = append(initial, fmt.Sprintf("m%d=http://%s", at, peer))
	}
	for at, peer := range peers {
		if err := f.startMember(at, peer, strings.Join(initial, ",")); err != nil {
			f.stop()
			return nil, err
		}
	}
	if err := f.waitReady(); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

func (f *fleet) startMember(at int, peer, initial string) error {
	name := fmt.Sprintf("m%d", at)
	peerURL, clientURL := "http://"+peer, "http://"+f.clients[at]
	args := []string{
		"--name", name, "--data-dir", filepath.Join(f.dir, name),
		"--initial-cluster", initial, "--initial-cluster-state", "new",
		"--initial-advertise-peer-urls", peerURL, "--listen-peer-urls", peerURL,
		"--listen-client-urls", clientURL,
	}
	if f.server.grpc {
		args = append(args, "--advertise-client-urls", clientURL, "--logger", "zap", "--log-level", "error")
	}
	log, err := os.Create(filepath.Join(f.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	process := exec.Command(f.server.program, args...)
	process.Stdout, process.Stderr = log, log
	// Members must not outlive a load that is killed.
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	f.processes = append(f.processes, process)
	return nil
}

func (f *fleet) waitReady() error {
	deadline := time.Now().Add(startTimeout)
	var last error
	for time.Now().Before(deadline) {
		if last = f.tryAll(); last == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("not ready after %v: %w; its logs:\n%s", startTimeout, last, f.logs())
}

// tryAll writes through every member, and finds the leader.
func (f *fleet) tryAll() error {
	f.leader = -1
	for at, client := range f.clients {
		door, err := openDoor(f.server, client)
		if err != nil {
			return err
		}
		defer door.close()
		if err := door.put("ready", "yes"); err != nil {
			return err
		}
		leads, err := door.leads()
		if err != nil {
			return err
		}
		if leads {
			f.leader = at
		}
	}
	if f.leader < 0 {
		return errors.New("nobody leads")
	}
	return nil
}

// doors are one connection a client, spread over the members unless all ask the leader.
func (f *fleet) doors(clients int) ([]door, error) {
	var doors []door
	for client := range clients {
		at := client % members
		if f.toLeader {
			at = f.leader
		}
		door, err := openDoor(f.server, f.clients[at])
		if err != nil {
			closeAll(doors)
			return nil, err
		}
		doors = append(doors, door)
	}
	return doors, nil
}

// processorTime is what all members used so far.
func (f *fleet) processorTime() (time.Duration, error) {
	var sum time.Duration
	for _, process := range f.processes {
		used, err := processorTime(process.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// logs are the last lines of what the members said.
func (f *fleet) logs() string {
	const lines = 15
	var text strings.Builder
	for at := range f.processes {
		name := fmt.Sprintf("m%d.log", at)
		bytes, _ := os.ReadFile(filepath.Join(f.dir, name))
		all := strings.Split(strings.TrimSpace(string(bytes)), "\n")
		fmt.Fprintf(&text, "-- %s\n%s\n", name, strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
	return text.String()
}

func (f *fleet) stop() {
	for _, process := range f.processes {
		_ = process.Process.Kill()
		_ = process.Wait()
	}
	_ = os.RemoveAll(f.dir)
}

// freeAddresses are on loopback, and nobody listens there.
func freeAddresses(count int) ([]string, error) {
	var addresses []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// Until all are found, so that none is found twice.
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
