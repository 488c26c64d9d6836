// Live states, and the drop zone with its progress. Without this script the same pages work with
// plain forms, and load themselves anew.
"use strict";

const PAUSE = 2000; // milliseconds between two looks at what changes

document.documentElement.classList.add("script");

// Replaces what changes by what the server shows of it now, until it has come to its end.
async function look(element) {
  try {
    const answer = await fetch(element.dataset.live);
    if (answer.ok) {
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = found.getElementById(element.id);
      if (now && now.outerHTML !== element.outerHTML) {
        if (element.contains(document.activeElement) && now.dataset.live) {
          later(element); // whoever is in it with the keyboard is not thrown out
          return;
        }
        element.replaceWith(now);
        element = now;
      }
    }
  } catch (error) {
    // The desk was closed, or is busy: the next look tells.
  }
  later(element);
}

function later(element) {
  if (element.dataset.live) {
    setTimeout(() => (document.hidden ? later(element) : look(element)), PAUSE);
  }
}

function drop(form) {
  const input = form.querySelector("input[type=file]");
  const button = form.querySelector("button[type=submit]");
  const sending = form.querySelector(".sending");
  const bar = form.querySelector("progress");
  const told = form.querySelector(".told");
  let request = null;

  function tell(sentence, isBad) {
    told.textContent = sentence;
    told.classList.toggle("bad", Boolean(isBad));
  }

  function end(sentence, isBad) {
    request = null;
    sending.hidden = true;
    button.disabled = false;
    tell(sentence, isBad);
  }

  function send(file) {
    if (request) return;
    request = new XMLHttpRequest();
    request.open("PUT", "/uploads?name=" + encodeURIComponent(file.name));
    request.setRequestHeader("X-CSRF-Token", form.elements.csrf.value);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => {
      const share = event.total ? event.loaded / event.total : 1;
      bar.value = share;
      tell(`${file.name}: ${Math.floor(100 * share)} % of ${size(file.size)} sent`);
    };
    request.onload = (event) => {
      let answer = {};
      try {
        answer = JSON.parse(event.target.responseText);
      } catch (error) {
        // A page, not a document: the sentence below has to do.
      }
      if (event.target.status === 201) {
        bar.value = 1;
        tell(`${file.name} has arrived`);
        location.assign(answer.address);
      } else {
        end(answer.error || "The file was refused: load this page again and send it once more.", true);
      }
    };
    request.onerror = () =>
      end("The file did not arrive: is `claimflow desk` still running? Then send it again.", true);
    request.onabort = () => end("Cancelled: nothing was kept of the file.");
    bar.value = 0;
    sending.hidden = false;
    button.disabled = true;
    tell(`${file.name}: sending`);
    request.send(file);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.files.length) send(input.files[0]);
  });
  form.querySelector("[data-cancel]").addEventListener("click", () => request && request.abort());
  for (const name of ["dragenter", "dragover"]) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
  }
  form.addEventListener("dragleave", (event) => {
    if (!form.contains(event.relatedTarget)) form.classList.remove("over");
  });
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    const files = event.dataTransfer.files;
    if (files.length === 1) send(files[0]);
    else tell("Drop one file at a time.", true);
  });
}

function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${Math.max(1, Math.round(bytes / 1e3))} KB`;
}

document.querySelectorAll("[data-live]").forEach(later);
document.querySelectorAll("[data-drop]").forEach(drop);
