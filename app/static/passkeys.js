// Passkeys: hands what the server asks to the browser, and what the browser answers back.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
const named = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));

async function made(options) {
  const key = await navigator.credentials.create({ publicKey: {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: named(options.excludeCredentials),
  } });
  return {
    id: key.id, rawId: text(key.rawId), type: key.type,
    response: {
      attestationObject: text(key.response.attestationObject),
      clientDataJSON: text(key.response.clientDataJSON),
      transports: key.response.getTransports ? key.response.getTransports() : [],
    },
    extensions: JSON.stringify(key.getClientExtensionResults()),
  };
}

async function shown(options) {
  const key = await navigator.credentials.get({ publicKey: {
    ...options, challenge: bytes(options.challenge), allowCredentials: named(options.allowCredentials),
  } });
  const answer = key.response;
  return {
    id: key.id, rawId: text(key.rawId), type: key.type,
    response: {
      authenticatorData: text(answer.authenticatorData),
      clientDataJSON: text(answer.clientDataJSON),
      signature: text(answer.signature),
      userHandle: answer.userHandle ? text(answer.userHandle) : null,
    },
  };
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const ask = form.dataset.passkey === "create" ? made : shown;
  ask(JSON.parse(form.dataset.options)).then((credential) => {
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  }).catch(() => {
    form.querySelector("[data-passkey-said]").hidden = true;
    form.querySelector("[data-passkey-failed]").hidden = false;
  });
}
