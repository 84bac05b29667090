package main

import "go.etcd.io/raft/v3/raftpb"

// The messages of src/message.rs.
const (
	term      = 7
	indexBase = 10_000_000
)

// memberID is the id of the leader (0) or of a follower (1..): splitmix64.
func memberID(member int) uint64 {
	z := (uint64(member) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// messages makes the messages of one plan and reads their numbers back.
type messages struct {
	payload []byte
	entries uint64
}

func newMessages(p *plan) messages {
	payload := make([]byte, p.entrySize)
	for i := range payload {
		payload[i] = byte(i)*31 + 7
	}
	return messages{payload: payload, entries: uint64(p.entriesPerMessage)}
}

// appendBatch appends messages first up to next to the follower. Their entries share one
// allocation: raft's are slices of one log, too.
func (m *messages) appendBatch(batch []raftpb.Message, follower int, first, next uint64) []raftpb.Message {
	entries := make([]raftpb.Entry, (next-first)*m.entries)
	index := indexBase + first*m.entries
	for i := range entries {
		entries[i] = raftpb.Entry{Term: term, Index: index + uint64(i) + 1, Data: m.payload}
	}
	for number := first; number < next; number++ {
		message := head(follower, indexBase+number*m.entries)
		at := (number - first) * m.entries
		message.Entries = entries[at : at+m.entries : at+m.entries]
		batch = append(batch, message)
	}
	return batch
}

// head is a MsgApp without entries; with index 0 a hello.
func head(follower int, index uint64) raftpb.Message {
	return raftpb.Message{
		Type: raftpb.MsgApp, To: memberID(follower + 1), From: memberID(0),
		Term: term, LogTerm: term, Index: index, Commit: index,
	}
}

func answer(m *raftpb.Message) raftpb.Message {
	return raftpb.Message{
		Type: raftpb.MsgAppResp, To: m.From, From: m.To, Term: m.Term,
		Index: m.Index + uint64(len(m.Entries)),
	}
}

// number of a MsgApp of the load; false for a hello and for anything else.
func (m *messages) number(message *raftpb.Message) (uint64, bool) {
	if message.Type != raftpb.MsgApp || message.Index < indexBase {
		return 0, false
	}
	return (message.Index - indexBase) / m.entries, true
}
