const place = document.getElementById("place");
const after = document.getElementById("after");
const line = document.getElementById("line");
function move() {
  after.style.clipPath = `inset(0 0 0 ${place.value}%)`;
  line.style.left = `${place.value}%`;
}
place.addEventListener("input", move);
document.querySelector(".stage").addEventListener("pointermove", (event) => {
  if (!event.buttons) return;
  const box = event.currentTarget.getBoundingClientRect();
  place.value = (100 * (event.clientX - box.left)) / box.width;
  move();
});
for (const choice of document.querySelectorAll("input[name=layer]")) {
  choice.addEventListener("change", () => {
    for (const overlay of document.querySelectorAll(".overlay")) overlay.hidden = overlay.id !== choice.value;
  });
}
move();
