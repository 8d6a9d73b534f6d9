// A choice filters at once; the button stays for typed words and for browsers without scripts.
"use strict";
(() => {
  document.querySelectorAll("form[data-auto] select").forEach((field) =>
    field.addEventListener("change", () => field.form.requestSubmit()));
  // Empty fields stay out of the address.
  document.addEventListener("formdata", (event) => {
    if (!event.target.matches("form[data-auto]")) return;
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });
})();
