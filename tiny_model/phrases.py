"""How people phrase each kind of question, and questions that have nothing to do with coloured shapes.

PHRASES and FOLLOW_UPS: templates by kind of question; "{0}" is what is asked about, such as "red circle".
OFF_TOPIC: templates of questions that the model must decline, with NOUNS and THINGS to fill in.

Every fifth entry of NOUNS, THINGS and OFF_TOPIC is kept out of training (`questions.off_topic(held_out=True)`), so that
refusal is measured on new words. Their order therefore matters: add at the end.
"""

PHRASES = {
    "describe": (
        "Describe this image.",
        "Describe the picture.",
        "What is in this image?",
        "What do you see?",
        "What's in the picture?",
        "Tell me what you see.",
        "What does the picture show?",
        "What can you see in this image?",
        "What is this?",
    ),
    "colour": (
        "What color is the {0}?",
        "Which color is the {0}?",
        "What is the color of the {0}?",
        "What color does the {0} have?",
        "The {0} is what color?",
        "Tell me the color of the {0}.",
    ),
    "shape": (
        "What shape is {0}?",
        "Which shape is {0}?",
        "What is the {0} shape?",
        "What is {0}?",
        "What is the {0} thing?",
        "What shape is the {0} one?",
        "Tell me which shape is {0}.",
    ),
    "count": (
        "How many {0} are there?",
        "How many {0} do you see?",
        "How many {0} are in the picture?",
        "Count the {0}.",
    ),
    "where": (
        "Where is the {0}?",
        "In which part of the picture is the {0}?",
        "Where do you see the {0}?",
        "Where can I find the {0}?",
        "What is the position of the {0}?",
    ),
    "locate": (
        "Locate the {0}.",
        "Give me the bounding box of the {0}.",
        "Find the {0}.",
        "Detect the {0}.",
        "Draw a box around the {0}.",
        "Where exactly is the {0}? Give a box.",
    ),
    "is_there": (
        "Is there a {0}?",
        "Do you see a {0}?",
        "Can you see a {0}?",
        "Does the picture have a {0}?",
        "Is a {0} in the picture?",
        "Is there any {0}?",
    ),
    "which_picture": (
        "Which picture has a {0}?",
        "Which image shows a {0}?",
        "In which picture is there a {0}?",
        "Where is a {0}?",
    ),
    "moves": (
        "What moves?",
        "What is moving?",
        "Describe this video.",
        "What happens in the video?",
        "What moves, and which way?",
    ),
    "way": (
        "Which way does the {0} move?",
        "Where does the {0} go?",
        "In which direction does the {0} move?",
        "Where is the {0} going?",
        "Which way does it move?",
    ),
}
FOLLOW_UPS = {
    "where": ("Where is it?", "And where is it?", "Where do you see it?"),
    "colour": ("What color is it?", "And what color is it?", "Which color does it have?"),
    "shape": ("What shape is it?", "And which shape is it?"),
    "locate": ("Locate it.", "Give me its bounding box.", "Draw a box around it."),
}

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
