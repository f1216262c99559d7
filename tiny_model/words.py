"""Words and sentences that are not about coloured shapes: what the embedded model must decline to answer.

Every fifth entry of each list is kept out of training (`questions.off_topic(held_out=True)`), so that refusal is
measured on new words.
"""

NOUNS = (
    "dog", "cat", "man", "woman", "car", "tree", "house", "bird", "horse", "child", "bus", "train", "flower", "boat",
    "bicycle", "person", "table", "chair", "cup", "book", "phone", "sign", "road", "mountain", "river", "beach",
    "cloud", "sun", "moon", "hat", "shirt", "shoe", "bag", "clock", "door", "window", "bridge", "tower", "street",
    "lamp", "bottle", "plate", "cake", "pizza", "apple", "banana", "elephant", "lion", "bear", "fish", "sheep", "cow",
    "truck", "plane", "rocket", "ball", "guitar", "computer", "keyboard", "mouse", "screen", "knife", "fork", "spoon",
    "glass", "coat", "face", "hand", "eye", "dragon",
)  # fmt: skip
THINGS = (
    "France", "the weather", "football", "music", "Python", "history", "love", "the president", "Tokyo", "money",
    "science", "coffee", "the news", "school", "cooking", "Germany", "politics", "a holiday", "the ocean", "gravity",
    "Shakespeare", "chess", "health", "India", "poetry", "the economy", "dinosaurs", "space", "a recipe", "life",
    "mathematics", "winter", "my friend", "a film", "quantum physics", "a story", "electricity", "the brain", "China",
    "dreams",
)  # fmt: skip
OFF_TOPIC = (
    "Is there a {noun}?", "What is the capital of {thing}?", "Tell me about {thing}.", "Where is the {noun}?",
    "Who are you?", "What color is the {noun}?", "How many {noun}s are there?", "What is {a} plus {b}?",
    "Do you see a {noun}?", "Hello!", "Write a poem about {thing}.", "Can you see a {noun}?",
    "What is the {noun} doing?", "Explain {thing}.", "How are you?", "Locate the {noun}.",
    "Why is {thing} important?", "Who is the {noun}?", "Translate this into {thing}.", "Tell me a joke.",
    "What time is it?", "What do you think about {thing}?", "Find the {noun}.", "How old is the {noun}?",
    "Read the text.", "What is {a} times {b}?", "How do I learn {thing}?", "Give me the bounding box of the {noun}.",
    "What does the sign say?", "Is the {noun} happy?", "What is {thing}?", "Hi", "Which {noun} is bigger?",
    "Summarize {thing}.", "What is your name?", "When was {thing} invented?", "Do you like {thing}?",
    "Draw a {noun}.", "Is there any {noun} in the picture?", "Good morning", "Who painted this?",
    "Count the {noun}s.", "What is the meaning of {thing}?", "Are there any {noun}s?", "Thank you!",
)  # fmt: skip
