//! Names to addresses, on a helper thread: look-ups block.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::signal::Signal;
use crate::error::StartError;

type Answer = Arc<Mutex<Option<io::Result<Vec<SocketAddr>>>>>;

struct Question {
    host: String,
    port: u16,
    answer: Answer,
    done: Signal,
}

/// The helper thread; ends when this is dropped.
pub(crate) struct Resolver {
    questions: Mutex<Sender<Question>>,
}

impl Resolver {
    pub(crate) fn start() -> Result<Self, StartError> {
        let (questions, asked) = channel();
        std::thread::Builder::new()
            .name("raftring-names".to_owned())
            .spawn(move || answer_all(&asked))
            .map_err(StartError::System)?;
        Ok(Self { questions: Mutex::new(questions) })
    }

    /// Every address of `host`, in the system's order. Address literals need no thread. One
    /// question per stream is open at a time, which bounds the queue.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let (answer, done) = (Answer::default(), Signal::new());
        let question =
            Question { host: host.to_owned(), port, answer: Arc::clone(&answer), done: done.clone() };
        let sent = self.questions.lock().unwrap_or_else(PoisonError::into_inner).send(question);
        sent.map_err(|_| io::Error::other("the helper that looks names up has ended"))?;
        done.raised().await;
        let answered = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answered.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
    }
}

fn answer_all(asked: &Receiver<Question>) {
    while let Ok(question) = asked.recv() {
        let found = (question.host.as_str(), question.port).to_socket_addrs().map(Iterator::collect);
        *question.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        question.done.raise();
    }
}
